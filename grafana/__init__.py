"""What Grafana shows of Tidemark: a data source, three dashboards and alert rules, all provisioned from files.

`python -m grafana` writes `dashboards/*.json` from the code here: `statements` makes their SQL, `panels` their parts,
and `hosts`, `host` and `tidemark` are the dashboards. The files are committed; a test holds them against the code.
"""
