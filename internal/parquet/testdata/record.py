"""Writes the files that TestForeignFiles reads, and what is in them: python3 record.py

Recorded with pyarrow 26.0.1, polars and duckdb (versions in files.json).
"""
import json
import os

import duckdb
import polars
import pyarrow as pa
import pyarrow.parquet as pq

here = os.path.dirname(os.path.abspath(__file__))
texts = []
for i in range(120):
    if i % 7 == 3:
        texts.append(None)
    elif i % 11 == 0:
        texts.append("")
    elif i % 5 == 0:
        texts.append("the same again")
    else:
        texts.append(f"row {i}: " + "größer 中文 😀 " * (i % 4) + "\x00 end\n")
whole = [t or "" for t in texts]


def table(values, nullable=True, kind=pa.string()):
    # Lists, structs and numbers before and behind it, whose leaves must not be taken for the column.
    n = len(values)
    return pa.table(
        {
            "id": pa.array(range(n), pa.int64()),
            "tags": pa.array([[{"text": str(i)}, {"text": None}][: i % 3] for i in range(n)]),
            "meta": pa.array([{"text": str(i), "n": i} for i in range(n)]),
            "text": pa.array(values, kind),
            "score": pa.array([i / 2 for i in range(n)]),
        },
        schema=pa.schema(
            [
                ("id", pa.int64()),
                ("tags", pa.list_(pa.struct([("text", pa.string())]))),
                ("meta", pa.struct([("text", pa.string()), ("n", pa.int64())])),
                pa.field("text", kind, nullable=nullable),
                ("score", pa.float64()),
            ]
        ),
    )


sets = {"texts": texts, "whole": whole, "nulls": [None] * 30, "empty": []}
files = {}


def keep(name, values):
    files[name] = next(k for k, v in sets.items() if v == values)


def arrow(name, values=texts, nullable=True, kind=pa.string(), **options):
    keep(name, values)
    pq.write_table(table(values, nullable, kind), os.path.join(here, name), **options)


arrow("plain.parquet", compression="none", use_dictionary=False)
arrow("snappy.parquet", compression="snappy", row_group_size=50)
arrow("gzip.parquet", compression="gzip", data_page_size=200, write_batch_size=10)
arrow("zstd.parquet", compression="zstd", data_page_version="2.0", data_page_size=200, write_batch_size=10)
arrow("required.parquet", whole, False, compression="snappy", use_dictionary=False)
arrow("required2.parquet", whole, False, compression="zstd", data_page_version="2.0")
arrow("length.parquet", use_dictionary=False, column_encoding={"text": "DELTA_LENGTH_BYTE_ARRAY"}, compression="none")
arrow("prefix.parquet", use_dictionary=False, column_encoding={"text": "DELTA_BYTE_ARRAY"}, compression="zstd", data_page_version="2.0")
arrow("large.parquet", kind=pa.large_string(), compression="none", dictionary_pagesize_limit=64)
arrow("nulls.parquet", [None] * 30)
arrow("empty.parquet", [])
keep("polars.parquet", texts)
polars.DataFrame({"n": range(len(texts)), "text": texts}).write_parquet(os.path.join(here, "polars.parquet"), row_group_size=40)
keep("duckdb.parquet", texts)
duckdb.register("rows", pa.table({"text": pa.array(texts), "n": pa.array(range(len(texts)))}))
duckdb.sql(f"COPY (SELECT n, text FROM rows) TO '{os.path.join(here, 'duckdb.parquet')}' (FORMAT parquet, CODEC 'snappy')")
for name in ("numbers", "list"):
    values = pa.array([1, 2]) if name == "numbers" else pa.array([["a"], ["b"]])
    pq.write_table(pa.table({"text": values}), os.path.join(here, f"bad-{name}.parquet"))
pq.write_table(pa.table({"other": pa.array(["a"])}), os.path.join(here, "bad-name.parquet"))

with open(os.path.join(here, "files.json"), "w") as out:
    versions = {"pyarrow": pa.__version__, "polars": polars.__version__, "duckdb": duckdb.__version__}
    json.dump({"versions": versions, "sets": sets, "files": files}, out, ensure_ascii=True)
    out.write("\n")
