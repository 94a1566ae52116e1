"""PostgreSQL and S3 servers for tests, on free loopback ports."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

_INITDB = ("-D", "data", "-U", "convrec", "-A", "trust", "-E", "UTF8", "--no-locale")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _postgres_programs() -> Path | None:
    folders = [Path(p).parent for p in (shutil.which("initdb"),) if p]
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((f for f in folders if (f / "initdb").exists() and (f / "pg_ctl").exists()), None)


@dataclass
class Postgres:
    """A running server. Tests may restart and stop it."""

    programs: Path
    folder: Path
    port: int
    user: list[str]

    def control(self, *words: str) -> None:
        """Run pg_ctl. Stopping disconnects all clients; starting waits for the server."""
        options = f"-p {self.port} -h 127.0.0.1 -k {self.folder} -c max_connections=200"
        always = ("-D", "data", "-l", "log", "-o", options, "-m", "fast", "-w", "-s")
        subprocess.run(
            [*self.user, str(self.programs / "pg_ctl"), *always, *words],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=self.folder,
        )

    def create_database(self, name: str) -> str:
        """Create a database and return its connection string."""
        import psycopg

        with psycopg.connect(self.connection_string("postgres"), autocommit=True) as session:
            session.execute(f'CREATE DATABASE "{name}"'.encode())
        return self.connection_string(name)

    def connection_string(self, name: str) -> str:
        return f"host=127.0.0.1 port={self.port} user=convrec dbname={name}"


@contextlib.contextmanager
def postgres() -> Iterator[Postgres]:
    """A new PostgreSQL server. It refuses to run as root; then it runs as user postgres."""
    programs = _postgres_programs()
    if programs is None:
        pytest.skip("no PostgreSQL here (Debian: apt-get install postgresql)")
    for module in ("psycopg", "duckdb_extension_ducklake", "duckdb_extension_postgres_scanner"):
        pytest.importorskip(module, reason="the extra `lake` is not installed")
    user: list[str] = []
    folder = Path(tempfile.mkdtemp(prefix="convrec-postgres-"))
    if os.getuid() == 0:
        with contextlib.suppress(KeyError):
            pwd.getpwnam("postgres")
            user = ["runuser", "-u", "postgres", "--"]
        if not user:
            pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
        shutil.chown(folder, "postgres")
    server = Postgres(programs, folder, free_port(), user)
    try:
        subprocess.run(
            [*user, str(programs / "initdb"), *_INITDB],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=folder,
        )
        server.control("start")
        yield server
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):
            server.control("stop")
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def s3(bucket: str) -> Iterator[dict[str, str]]:
    """A local S3 server with one bucket; yields the environment variables to reach it."""
    pytest.importorskip("moto", reason="no moto here (pip install 'moto[server]')")
    import boto3

    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    environment = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
    }
    try:
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.1)
        boto3.client(
            "s3",
            endpoint_url=environment["AWS_ENDPOINT_URL"],
            aws_access_key_id="test",
            aws_secret_access_key="test",
            region_name="us-east-1",
        ).create_bucket(Bucket=bucket)
        yield environment
    finally:
        server.terminate()
        server.wait(30)
