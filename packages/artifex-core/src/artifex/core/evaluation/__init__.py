"""Metrics, pipelines, a ledger and reports.

| module                            | holds                                                                      |
|-----------------------------------|----------------------------------------------------------------------------|
| metric, sets, likelihood, frechet | states with init, update, merge, compute; the three kinds of state         |
| kernel, manifold                  | metrics of sets: KD, energy; precision, recall, density, coverage          |
| extractor                         | what set metrics look at: pixels, or features of a network                 |
| intervals, verdict                | 95 % intervals; improved, same, regressed, insufficient                    |
| registry, builtin                 | metrics by name, of core and of plugins                                    |
| scoring, pipeline, result         | a model on data: per-example metrics, set metrics, what was left out       |
| suite                             | several models, data sets and seeds                                        |
| ledger, report, picture           | where results stay: SQLite, Markdown, HTML, PNG                            |
"""
