"""Reports: a record's numbers as terminal tables, figures and one self-contained HTML page. Imports no torch.

A record is the JSON object that an evaluation writes (`kind` "replication", "calibration" or "attack"). `record` reads
and checks it, `summary` says in plain sentences what the numbers mean, `text`, `figures` and `html` show it. Attack
records are shown side by side: `attack_labels` names them, `attack_overview` has their tables, `attack_curves` their
figure.

matplotlib and Jinja are imported only by `figures` and `html`, so the tables are quick to print.
"""
