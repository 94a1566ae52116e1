"""What runs, and in which order. No logic."""

import convrec as convrec  # before Prefect: switches its telemetry off
