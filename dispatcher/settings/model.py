"""The table of settings: every name with its type, default and meaning.

Each field below is one row; `table.py` prints them for the README. Names are those of the environment in
lower case. What stands in `ProjectValues` can also be set for one project.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SecretStr
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from typing_extensions import override

from dispatcher.errors import SettingsError
from dispatcher.settings import sources
from dispatcher.settings.kinds import Decimal, Duration, Flag, OneOf, Pattern, ProjectIds, Size, Whole
from dispatcher.settings.places import CredentialsSource, Endpoint, FilePath, ProxyUrl, RedisUrl

GOOGLE_FCM = "https://fcm.googleapis.com"
GOOGLE_IID = "https://iid.googleapis.com"
GOOGLE_XMPP = "fcm-xmpp.googleapis.com:5235"

Wire = Literal["batch", "v1", "legacy", "xmpp"]
WIRES: tuple[Wire, ...] = get_args(Wire)
"""The wires that messages go out by, as metrics and settings name them."""

_YEAR_S = 366 * 86400.0


class ProjectValues(BaseModel):
    """What can be set for all projects, and otherwise for one in its own table `[projects."id"]`."""

    transport: Annotated[Literal["auto", "batch", "v1", "legacy", "xmpp"], OneOf(("auto", *WIRES))] = Field(
        default="auto",
        description="Wire to send by. `auto`: `v1` on Google's host; elsewhere `batch`, and `v1` if the endpoint has none. `legacy`: `/fcm/send` of a compatible server; `xmpp`: its XMPP, with `pip install 'fcm-dispatcher[xmpp]'`",
    )
    fcm_endpoint: Annotated[str, Endpoint()] = Field(
        default=GOOGLE_FCM, description="Base URL of FCM, of a gateway or of the emulator"
    )
    iid_endpoint: Annotated[str, Endpoint()] = Field(
        default="",
        description="Base URL of the Instance ID service: tokens, topics, imports",
        json_schema_extra={"shown": f"`{GOOGLE_IID}`; `DISPATCHER_FCM_ENDPOINT` if that is not Google's"},
    )
    legacy_endpoint: Annotated[str, Endpoint()] = Field(
        default="",
        description="Base URL of the legacy HTTP service and of device groups",
        json_schema_extra={"shown": "`DISPATCHER_FCM_ENDPOINT`"},
    )
    xmpp_endpoint: Annotated[str, Pattern(r"[A-Za-z0-9.-]+:[0-9]{1,5}", "host:port")] = Field(
        default=GOOGLE_XMPP, description="Host and port of the XMPP service"
    )
    proxy: Annotated[SecretStr, ProxyUrl()] = Field(
        default=SecretStr(""),
        description="HTTP proxy for messages and access tokens. HTTPS_PROXY of the environment is not looked at",
    )
    ca_file: Annotated[Path | None, FilePath()] = Field(
        default=None,
        description="PEM file with certificates to trust beside the system's; what is added to it is trusted within 30 s, what is taken out of it until a restart",
    )
    tls_verify: Annotated[bool, Flag()] = Field(
        default=True,
        description="`false`: take any certificate. Whoever is in between reads and forges everything; the log, `/readyz` and a metric say so",
    )
    sender_id: Annotated[str, Pattern(r"[0-9]{1,20}", "a sender id (the project number, digits only)")] = (
        Field(
            default="", description="Sender id (project number), for device groups and `xmpp`, which need it"
        )
    )
    legacy_key_file: Annotated[Path | None, FilePath()] = Field(
        default=None,
        description="File that holds the server key for legacy services; `legacy` and `xmpp` need it, and management jobs are signed with it where `DISPATCHER_CREDENTIALS` is `none`. Read again when it changes",
    )
    http_version: Annotated[Literal["auto", "1.1", "2"], OneOf(("auto", "1.1", "2"))] = Field(
        default="auto",
        description="HTTP that `v1` speaks. `auto`: 2 over TLS where the server has it; `2`: nothing else, and over `http://` too",
    )
    batch_size: Annotated[int, Whole(1, 500)] = Field(
        default=500,
        description="Most messages in one `batch` request; if set, also recipients of one `legacy` call, else 1000",
    )
    linger_ms: Annotated[float, Duration(0, 10_000, 0.001)] = Field(
        default=20.0, description="How long a batch waits to become full"
    )
    max_concurrent_requests: Annotated[int | None, Whole(1, 20_000)] = Field(
        default=None,
        description="Most requests of a project in flight at once; over `v1` all projects of a worker share 3375 (streams), "
        "or 360 over HTTP/1.1, where each takes a connection of some 70 kB, and more where one of them may have more",
        json_schema_extra={
            "shown": "1000 for `v1` (320 over HTTP/1.1), 100 a connection for `xmpp`, 64 for others"
        },
    )
    request_timeout_s: Annotated[float, Duration(0.1, 600)] = Field(
        default=15.0, description="Time a request may take; FCM asks senders for at least 10"
    )
    topic_timeout_s: Annotated[float, Duration(0.1, 600)] = Field(
        default=60.0, description="The same for topics and conditions, which FCM may take 30 s to answer"
    )
    topic_concurrency: Annotated[int, Whole(1, 1000)] = Field(
        default=10, description="Most requests to topics and conditions in flight at once"
    )
    quota_per_minute: Annotated[int, Whole(1, 1_000_000_000)] = Field(
        default=600_000,
        description="Messages a minute that FCM grants the project, for all replicas together",
    )
    quota_use: Annotated[float, Decimal(0.01, 1)] = Field(
        default=0.9,
        description="Share of the quota to use; up to 0.97 the quota cannot be exceeded in any 60 seconds",
    )
    subscriptions_per_s: Annotated[int, Whole(1, 1_000_000)] = Field(
        default=2000,
        description="Items of management jobs a second (tokens to subscribe, imports, look-ups), for all replicas together",
    )
    max_attempts: Annotated[int, Whole(1, 100)] = Field(
        default=5, description="Sends of one message before it is `failed`; throttling does not count"
    )
    default_expiry_s: Annotated[float, Duration(1, _YEAR_S)] = Field(
        default=86400.0, description="Life of a job without `expires_at`, from enqueueing"
    )
    dedup_window_s: Annotated[float, Duration(1, _YEAR_S)] = Field(
        default=86400.0, description="How long a `dedup_key` is remembered"
    )
    max_job_bytes: Annotated[int, Size(1024, 16 * 2**20)] = Field(
        default=262_144, description="Largest stream entry; larger ones are `rejected`"
    )
    xmpp_connections: Annotated[int, Whole(1, 1000)] = Field(
        default=10,
        description="XMPP connections that a worker keeps open, with 100 messages under way on each; servers grant a sender id 1000 or 2500 in all",
    )
    upstream_retention_s: Annotated[float, Duration(60, _YEAR_S)] = Field(
        default=7 * 86400.0,
        description="How long messages of devices and delivery receipts are kept (XMPP), if unread",
    )
    upstream_max_entries: Annotated[int, Whole(100, 100_000_000)] = Field(
        default=100_000, description="Most of these kept"
    )
    outcomes: Annotated[Literal["all", "failures"], OneOf(("all", "failures"))] = Field(
        default="all", description="Which outcomes are written; `failures` leaves out `accepted` and `done`"
    )
    outcomes_retention_s: Annotated[float, Duration(60, _YEAR_S)] = Field(
        default=86400.0, description="How long unread outcomes are kept"
    )
    outcomes_max_entries: Annotated[int, Whole(100, 100_000_000)] = Field(
        default=20_000, description="Most entries kept in the outcome stream (one for each settled batch)"
    )
    dead_retention_s: Annotated[float, Duration(60, 10 * _YEAR_S)] = Field(
        default=30 * 86400.0, description="How long dead letters are kept"
    )
    dead_max_entries: Annotated[int, Whole(100, 100_000_000)] = Field(
        default=100_000, description="Most dead letters kept"
    )
    validation: Annotated[Literal["strict", "server"], OneOf(("strict", "server"))] = Field(
        default="strict",
        description="`strict` refuses what FCM would refuse, unsent; `server` lets FCM judge",
    )
    topic_payload_limit: Annotated[int, Size(1, 4096)] = Field(
        default=4096,
        description="Largest payload to a topic or condition in bytes; FCM's own pages say 2048 or 4096, and above 2048 there is a warning",
    )
    reserved_keys: Annotated[Literal["wide", "narrow"], OneOf(("wide", "narrow"))] = Field(
        default="wide",
        description="Keys refused in `data`: `wide`: `from`, `message_type`, `gcm`, `google*`, `gcm*`; `narrow`: of these only what FCM's newest schema names, `from`, `message_type`, `google.*`, `gcm.notification.*`",
    )

    @property
    def iid_base(self) -> str:
        """Where Instance ID is. Who speaks to another FCM than Google's must not hand its tokens to Google."""
        elsewhere = self.fcm_endpoint.rstrip("/") != GOOGLE_FCM
        return self.iid_endpoint or (self.fcm_endpoint if elsewhere else GOOGLE_IID)

    @property
    def legacy_base(self) -> str:
        """Where the legacy HTTP service is, and device groups."""
        return self.legacy_endpoint or self.fcm_endpoint

    def concurrency(self, carrier: str) -> int:
        """Most requests in flight at once, by what carries them: a wire; `v1-h2` is `v1` over HTTP/2 (streams)."""
        usual = {"v1-h2": 1000, "v1": 320, "xmpp": self.xmpp_connections * 100}.get(carrier, 64)
        return self.max_concurrent_requests or usual


class ProjectSettings(ProjectValues):
    """The settings that hold for one project: its own table over those for all."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    credential: Annotated[str, CredentialsSource(folder=False)] = Field(
        default="",
        description="Credential of this project alone, in place of the one from DISPATCHER_CREDENTIALS: service-account file, `adc`, `none` or `token-file:/path`",
        json_schema_extra={"shown": "from `DISPATCHER_CREDENTIALS`"},
    )


TABLE_ONLY = frozenset(ProjectSettings.model_fields) - frozenset(ProjectValues.model_fields) - {"id"}
"""What can be set for one project only, in its table."""


class Settings(ProjectValues, BaseSettings):
    """All settings of one process; made by `Settings.load`."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", validate_default=False)

    redis_url: Annotated[SecretStr, RedisUrl()] = Field(
        default=SecretStr(""),
        description="`redis://`, `unix://`, `redis+sentinel://h1,h2/master/0` or `redis+cluster://h1,h2`; with TLS `rediss://`, `rediss+sentinel://`, `rediss+cluster://`",
    )
    redis_password_file: Annotated[Path | None, FilePath()] = Field(
        default=None, description="File that holds the Redis password, in place of one in the URL"
    )
    redis_ca_file: Annotated[Path | None, FilePath()] = Field(
        default=None,
        description="PEM file with certificates to trust for Redis beside the system's, read at the start",
    )
    redis_cert_file: Annotated[Path | None, FilePath()] = Field(
        default=None,
        description="PEM file with the certificate that Redis asks its clients for, read at the start",
    )
    redis_key_file: Annotated[Path | None, FilePath()] = Field(
        default=None,
        description="PEM file with its private key, if that does not stand in DISPATCHER_REDIS_CERT_FILE",
    )
    namespace: Annotated[str, Pattern(r"[A-Za-z0-9_.:-]{1,64}", "1 to 64 letters, digits and _ . : -")] = (
        Field(default="fcm", description="First part of every Redis key")
    )
    credentials: Annotated[str, CredentialsSource()] = Field(
        default="",
        description="Service-account file, a folder of such files, `adc` (the machine's own identity, as GKE Workload Identity), `token-file:/path` (an access token as it is, for compatible servers) or `none` (an endpoint that asks for no token). Files are read again every 30 s: new keys are served, changed ones used, removed ones served no more",
    )
    projects: Annotated[tuple[str, ...], ProjectIds()] = Field(
        default=(),
        description="Projects to serve",
        json_schema_extra={"shown": "those with credentials"},
    )
    max_in_flight: Annotated[int, Whole(1, 1_000_000)] = Field(
        default=20_000, description="Most messages in a worker at once"
    )
    max_in_flight_bytes: Annotated[int, Size(2**20)] = Field(
        default=32 * 2**20, description="Most bytes of jobs and their requests in a worker at once"
    )
    lease_s: Annotated[float, Duration(1, 600)] = Field(
        default=15.0,
        description="Without a sign of life for this long, a worker's jobs are taken over by others",
    )
    drain_s: Annotated[float, Duration(0, 3600)] = Field(
        default=25.0, description="Time to finish what is in flight after SIGTERM"
    )
    http_port: Annotated[int, Whole(0, 65535)] = Field(
        default=8080,
        description="Port of `/livez`, `/readyz` and `/metrics`; 0: any free one, named in the log",
    )
    log_format: Annotated[Literal["auto", "console", "json"], OneOf(("auto", "console", "json"))] = Field(
        default="auto", description="`auto`: `console` on a terminal, `json` otherwise"
    )
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], OneOf(("debug", "info", "warning", "error"))
    ] = Field(default="info", description="Least serious log line to write")

    _tables: dict[str, ProjectSettings] = PrivateAttr(default_factory=dict)
    _untabled: dict[str, ProjectSettings] = PrivateAttr(default_factory=dict)

    @classmethod
    @override
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # Only what `load` passes: it has read file and environment, and knows what to call them in an error.
        return (init_settings,)

    @classmethod
    def load(cls, config: Path | None, environ: Mapping[str, str]) -> Self:
        """Read the settings of this process.

        Args:
            config: a TOML file, or None.
            environ: the environment; `DISPATCHER_*` in it wins over the same name in the file. A table
                `[projects."id"]` is the more specific and wins, for its project, over both.

        Raises:
            SettingsError: a name is unknown or a value not allowed. One line that names the setting, what was
                found, and what is allowed; never the value of a secret.
        """
        names = frozenset(cls.model_fields)
        file = sources.TomlFile(cls, config, names, TABLE_ONLY | frozenset(ProjectValues.model_fields))
        environment = sources.Environment(cls, environ, names)
        settings = sources.build(cls, file, environment)
        settings._read_tables(file)  # noqa: SLF001 - its own
        return settings

    def _read_tables(self, file: sources.TomlFile) -> None:
        for project, table in file.tables.items():
            merged = {"id": project, **self._for_all(), **table}
            self._tables[project] = sources.build_table(ProjectSettings, merged, file, project)

    def _for_all(self) -> dict[str, object]:
        return {
            name: getattr(self, name) for name in ProjectValues.model_fields if name in self.model_fields_set
        }

    def project(self, project: str) -> ProjectSettings:
        """The settings that hold for this project: its table, else those for all."""
        merged = self._tables.get(project) or self._untabled.get(project)
        if merged is None:
            merged = ProjectSettings.model_validate({"id": project, **self._for_all()})
            self._untabled[project] = merged
        return merged

    @property
    def tabled_projects(self) -> tuple[str, ...]:
        """The projects that have a table of their own."""
        return tuple(self._tables)

    def require_redis_url(self) -> str:
        """The Redis URL, password and all, for whoever opens the connection.

        Raises:
            SettingsError: none is set.
        """
        url = self.redis_url.get_secret_value()
        if not url:
            raise SettingsError(f"DISPATCHER_REDIS_URL is not set; allowed: {RedisUrl().allowed}")
        return url

    @property
    def own_credentials(self) -> dict[str, str]:
        """Sources of credentials of single projects."""
        return {project: table.credential for project, table in self._tables.items() if table.credential}

    def require_credentials(self) -> str:
        """The source of credentials for all projects; "" if every project that has one has its own.

        Raises:
            SettingsError: none is set, for any project.
        """
        if not self.credentials and not self.own_credentials:
            raise SettingsError(f"DISPATCHER_CREDENTIALS is not set; allowed: {CredentialsSource().allowed}")
        return self.credentials
