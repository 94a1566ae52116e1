"""Prefect tasks: how each stage is cached, retried and shown. No logic of their own."""

import convrec as convrec  # before Prefect: switches its telemetry off
