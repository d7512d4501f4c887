"""Writes the files that TestForeignRows reads, and what is in them: python3 record_rows.py

Recorded with pyarrow, polars and duckdb (versions in rows.json).
"""
import json
import os

import duckdb
import polars
import pyarrow as pa
import pyarrow.parquet as pq

here = os.path.dirname(os.path.abspath(__file__))


def message(i, k):
    return {
        "role": "assistant" if k % 2 else "user",
        "content": None if (i + k) % 13 == 12 else f"row {i}, message {k} " + 'größer 中文 😀 "\\\n' * (k % 3),
        "weight": None if k % 3 else k % 2,
        "train": [True, False, None][(i + k) % 3],
        "parts": None if i % 3 == 0 else [{"type": "text", "text": None if p == 2 else f"{i}.{k}.{p}"} for p in range(i % 4)],
    }


rows = []
for i in range(60):
    rows.append(
        {
            "id": i,
            "score": None if i % 5 == 0 else i / 4,
            "messages": None if i % 11 == 7 else [None if (i + k) % 17 == 16 else message(i, k) for k in range(i % 5)],
            "system": None if i % 2 else f"system {i % 3}",
        }
    )
deep = [{"nested": None if i % 4 == 1 else [None if k == 3 else [f"{i}{k}{j}" for j in range(k)] for k in range(i % 5)]} for i in range(20)]

part = pa.struct([("type", pa.string()), ("text", pa.string())])
turn = pa.struct(
    [("role", pa.string()), ("content", pa.string()), ("weight", pa.int32()), ("train", pa.bool_()), ("parts", pa.list_(part))]
)
schema = pa.schema([("id", pa.int64()), ("score", pa.float64()), ("messages", pa.list_(turn)), ("system", pa.string())])
table = pa.Table.from_pylist(rows, schema=schema)
sets, files = {"rows": rows, "deep": deep}, {}


def arrow(name, **options):
    files[name] = "rows"
    pq.write_table(table, os.path.join(here, name), **options)


arrow("rows-plain.parquet", compression="none", use_dictionary=False)
arrow("rows-groups.parquet", compression="snappy", row_group_size=7)
arrow("rows-pages.parquet", compression="brotli", data_page_size=100, write_batch_size=3)
arrow("rows-pages2.parquet", compression="lz4", data_page_version="2.0", data_page_size=100, write_batch_size=3)
arrow(
    "rows-delta.parquet",
    compression="zstd",
    use_dictionary=False,
    data_page_version="2.0",
    column_encoding={
        "id": "DELTA_BINARY_PACKED",
        "messages.list.element.weight": "DELTA_BINARY_PACKED",
        "messages.list.element.content": "DELTA_BYTE_ARRAY",
        "messages.list.element.role": "DELTA_LENGTH_BYTE_ARRAY",
    },
)
arrow("rows-old-lists.parquet", compression="none", use_compliant_nested_type=False)
files["deep.parquet"] = "deep"
pq.write_table(pa.Table.from_pylist(deep), os.path.join(here, "deep.parquet"))
frame = polars.from_arrow(table)
for codec in ("lz4", "brotli"):
    files[f"rows-polars-{codec}.parquet"] = "rows"
    frame.write_parquet(os.path.join(here, f"rows-polars-{codec}.parquet"), compression=codec, row_group_size=25)
files["rows-duckdb.parquet"] = "rows"
duckdb.register("t", table)
duckdb.sql(f"COPY (SELECT * FROM t) TO '{os.path.join(here, 'rows-duckdb.parquet')}' (FORMAT parquet, CODEC 'lz4_raw')")

with open(os.path.join(here, "rows.json"), "w") as out:
    versions = {"pyarrow": pa.__version__, "polars": polars.__version__, "duckdb": duckdb.__version__}
    json.dump({"versions": versions, "sets": sets, "files": files}, out, ensure_ascii=True)
    out.write("\n")

chats = [
    {
        "messages": [{"role": "user", "content": "q0", "name": "n"}, {"role": "assistant", "content": "a0"}],
        "system": "s",
        "ask": "x0",
        "answer": "y0",
    },
    {
        "messages": [
            {"role": "user", "content": "q1"},
            {"role": "assistant", "content": "b", "weight": 0},
            {"role": "user", "content": "r"},
            {"role": "assistant", "content": "a1", "weight": 1},
        ],
        "ask": "x1",
        "answer": "y1",
    },
    {"messages": None, "ask": "x2"},
]
turn = pa.struct([("role", pa.string()), ("content", pa.string()), ("name", pa.string()), ("weight", pa.int64())])
schema = pa.schema([("messages", pa.list_(turn)), ("system", pa.string()), ("ask", pa.string()), ("answer", pa.string())])
pq.write_table(pa.Table.from_pylist(chats, schema=schema), os.path.join(here, "chats.parquet"), compression="lz4")
