"""Floor 3: what the service says about itself.

`metrics.py` is the one table of metrics (name, type, labels, meaning); `instruments.py` is what its rows are
made of; `logs.py` sets up the log lines and keeps secrets out of them, `sampling.py` thins out floods of them;
`traces.py` is OpenTelemetry, if the extra `otel` is installed and told where to export to.
"""
