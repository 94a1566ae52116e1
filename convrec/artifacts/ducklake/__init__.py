"""The warehouse on DuckLake: a PostgreSQL catalog with Parquet files on disk or S3."""
