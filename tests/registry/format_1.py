"""A registry as variegate wrote it before format 2, by hand: the statements of its tables, and rows in them."""

from pathlib import Path

from sqlalchemy import Connection, text

from tests.registry.conftest import SPEC, closing_engine, make_row, model_manifest
from variegate.manifest import canonical_json, digest
from variegate.registry.engine import locate, open_engine, writing
from variegate.registry.protocol import CopyRow
from variegate.types import CopyStatus

TABLES = """
CREATE TABLE buyers (
 id INTEGER NOT NULL,
 name VARCHAR(128) NOT NULL,
 CONSTRAINT pk_buyers PRIMARY KEY (id),
 CONSTRAINT uq_buyers_name UNIQUE (name)
);
CREATE TABLE meta (
 "key" VARCHAR(64) NOT NULL,
 value TEXT NOT NULL,
 CONSTRAINT pk_meta PRIMARY KEY ("key")
);
CREATE TABLE models (
 id INTEGER NOT NULL,
 name VARCHAR(128) NOT NULL,
 digest VARCHAR(80) NOT NULL,
 manifest TEXT NOT NULL,
 added_at INTEGER NOT NULL,
 CONSTRAINT pk_models PRIMARY KEY (id),
 CONSTRAINT uq_models_name UNIQUE (name),
 CONSTRAINT uq_models_digest UNIQUE (digest)
);
CREATE TABLE specs (
 id INTEGER NOT NULL,
 digest VARCHAR(80) NOT NULL,
 name VARCHAR(128) NOT NULL,
 rewriter VARCHAR(128) NOT NULL,
 body TEXT NOT NULL,
 added_at INTEGER NOT NULL,
 CONSTRAINT pk_specs PRIMARY KEY (id),
 CONSTRAINT uq_specs_digest UNIQUE (digest)
);
CREATE TABLE copies (
 id INTEGER NOT NULL,
 copy_id VARCHAR(64) NOT NULL,
 buyer_id INTEGER NOT NULL,
 model_id INTEGER NOT NULL,
 spec_id INTEGER NOT NULL,
 epoch INTEGER NOT NULL,
 status VARCHAR(16) NOT NULL,
 issued_at INTEGER NOT NULL,
 CONSTRAINT pk_copies PRIMARY KEY (id),
 CONSTRAINT uq_copies_buyer_id_model_id_epoch UNIQUE (buyer_id, model_id, epoch),
 CONSTRAINT ck_copies_epoch CHECK (epoch >= 1),
 CONSTRAINT ck_copies_status CHECK (status IN ('active', 'superseded', 'revoked')),
 CONSTRAINT uq_copies_copy_id UNIQUE (copy_id),
 CONSTRAINT fk_copies_buyer_id FOREIGN KEY(buyer_id) REFERENCES buyers (id),
 CONSTRAINT fk_copies_model_id FOREIGN KEY(model_id) REFERENCES models (id),
 CONSTRAINT fk_copies_spec_id FOREIGN KEY(spec_id) REFERENCES specs (id)
);
"""


def write_format_1(url: str | Path, rows: list[CopyRow]) -> None:
    """Make a registry of format 1 with one model, one spec and these copies, numbered 1, 3, 5, ..."""
    engine = open_engine(locate(url), create=True)
    with closing_engine(engine), writing(engine) as connection:
        for statement in TABLES.split(";\n"):
            if statement.strip():
                connection.exec_driver_sql(statement)
        _fill(connection, rows)


def _fill(connection: Connection, rows: list[CopyRow]) -> None:
    manifest = model_manifest()
    for key, value in (("format", "1"), ("secret_identifier", "00aa")):
        connection.execute(text("INSERT INTO meta VALUES (:key, :value)"), {"key": key, "value": value})
    connection.execute(
        text("INSERT INTO models VALUES (3, 'net', :digest, :body, 1700000000)"),
        {"digest": manifest.digest, "body": canonical_json(manifest.to_dict()).decode()},
    )
    connection.execute(
        text("INSERT INTO specs VALUES (5, :digest, 'first', 'qim', :body, 1700000000)"),
        {"digest": digest(SPEC), "body": canonical_json(SPEC).decode()},
    )
    buyers = {buyer: number for number, buyer in enumerate(sorted({row.buyer for row in rows}), 7)}
    if rows:
        connection.execute(
            text("INSERT INTO buyers VALUES (:id, :name)"),
            [{"id": number, "name": name} for name, number in buyers.items()],
        )
        connection.execute(
            text("INSERT INTO copies VALUES (:id, :copy_id, :buyer, 3, 5, :epoch, :status, :issued_at)"),
            [
                {
                    "id": 2 * number + 1,
                    "copy_id": row.copy_id,
                    "buyer": buyers[row.buyer],
                    "epoch": row.epoch,
                    "status": row.status.value,
                    "issued_at": row.issued_at,
                }
                for number, row in enumerate(rows)
            ],
        )


def old_rows(count: int) -> list[CopyRow]:
    """Copies of every state: the state goes round with the number."""
    states = list(CopyStatus)
    return [make_row(f"b{i % 5}", epoch=1 + i // 5, status=states[i % 3]) for i in range(count)]
