"""Files where Spark's own files lie: a local folder, HDFS, an object store, by the driver's Hadoop settings."""

from __future__ import annotations

from typing import Any

from pyspark.sql import DataFrame, SparkSession


def kept(table: DataFrame, path: str) -> DataFrame:
    """Written to disk and read from there."""
    table.write.mode("overwrite").parquet(path)
    return table.sparkSession.read.parquet(path)


def hadoop(spark: SparkSession, path: str) -> tuple[Any, Any]:
    """The path as Hadoop has it, and its file system."""
    found = spark._jvm.org.apache.hadoop.fs.Path(path)  # type: ignore[union-attr]
    return found, found.getFileSystem(spark._jsc.hadoopConfiguration())


def read_texts(spark: SparkSession, pattern: str) -> dict[str, str]:
    """The text of each file that matches, by the folder it lies in."""
    path, system = hadoop(spark, pattern)
    found = {}
    for status in system.globStatus(path) or []:
        stream = system.open(status.getPath())
        try:
            found[status.getPath().getParent().toString()] = bytes(stream.readAllBytes()).decode()
        finally:
            stream.close()
    return found


def write_text(spark: SparkSession, path: str, text: str) -> None:
    """Writes or replaces a file."""
    place, system = hadoop(spark, path)
    stream = system.create(place, True)
    try:
        stream.write(text.encode())
    finally:
        stream.close()
