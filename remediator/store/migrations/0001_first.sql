-- Times are seconds since the epoch. Columns that hold JSON say so. Numbers of rows only ever grow.

-- Where the numbers come from that alerts get with every change, so that readers can follow.
CREATE TABLE counters (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT;

INSERT INTO counters (name, value) VALUES ('alerts', 0);

CREATE TABLE alerts (
    seq INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    alert TEXT NOT NULL, -- JSON
    firing INTEGER NOT NULL,
    received_at REAL NOT NULL,
    updated_at REAL NOT NULL,
    service TEXT NOT NULL DEFAULT '',
    disposition TEXT,
    gate TEXT NOT NULL DEFAULT '',
    text TEXT NOT NULL DEFAULT '',
    incident INTEGER
) STRICT;

CREATE INDEX alerts_firing ON alerts (seq) WHERE firing = 1;
CREATE INDEX alerts_resolved ON alerts (updated_at) WHERE firing = 0;
CREATE INDEX alerts_service ON alerts (service, seq);

CREATE TABLE incidents (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    service TEXT NOT NULL,
    runbook TEXT NOT NULL,
    opened_at REAL NOT NULL,
    health TEXT NOT NULL,
    text TEXT NOT NULL,
    plan TEXT NOT NULL, -- JSON
    labels TEXT NOT NULL, -- JSON
    annotations TEXT NOT NULL, -- JSON
    source TEXT NOT NULL,
    thresholds TEXT NOT NULL, -- JSON
    forced INTEGER NOT NULL,
    hold TEXT, -- JSON
    approval TEXT, -- JSON
    closed_at REAL,
    verdict TEXT,
    closing TEXT NOT NULL DEFAULT ''
) STRICT;

CREATE UNIQUE INDEX one_open_incident_per_service ON incidents (service) WHERE closed_at IS NULL;
CREATE INDEX incidents_closed ON incidents (closed_at, verdict, opened_at) WHERE closed_at IS NOT NULL;
CREATE INDEX incidents_service ON incidents (service, id);

CREATE TABLE step_runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    incident INTEGER NOT NULL REFERENCES incidents (id) ON DELETE CASCADE,
    service TEXT NOT NULL,
    runbook TEXT NOT NULL,
    step INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    action TEXT NOT NULL,
    started_at REAL NOT NULL,
    deadline REAL NOT NULL,
    ended_at REAL,
    outcome TEXT,
    text TEXT NOT NULL,
    call TEXT NOT NULL,
    output TEXT NOT NULL DEFAULT '',
    exit_code INTEGER,
    redeemed INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE UNIQUE INDEX one_run_per_attempt ON step_runs (incident, step, attempt);
CREATE UNIQUE INDEX one_running_step_per_incident ON step_runs (incident) WHERE ended_at IS NULL;
CREATE INDEX step_runs_started ON step_runs (started_at);

CREATE TABLE pauses (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    matchers TEXT NOT NULL, -- JSON
    starts_at REAL NOT NULL,
    ends_at REAL NOT NULL,
    author TEXT NOT NULL,
    comment TEXT NOT NULL
) STRICT;

CREATE INDEX pauses_ends ON pauses (ends_at);

CREATE TABLE services (
    name TEXT PRIMARY KEY,
    service TEXT NOT NULL, -- JSON
    author TEXT NOT NULL,
    added_at REAL NOT NULL
) STRICT;

CREATE TABLE journal (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    kind TEXT NOT NULL,
    text TEXT NOT NULL,
    service TEXT NOT NULL,
    incident INTEGER,
    run INTEGER,
    data TEXT NOT NULL -- JSON
) STRICT;

CREATE INDEX journal_at ON journal (at);
CREATE INDEX journal_service ON journal (service, id);
CREATE INDEX journal_incident ON journal (incident, id) WHERE incident IS NOT NULL;

CREATE TABLE cursors (
    name TEXT PRIMARY KEY,
    entry INTEGER NOT NULL
) STRICT;

-- Which Grafana annotation tells of which incident or run; the key is `incident:ID` or `run:ID`.
CREATE TABLE annotations (
    key TEXT PRIMARY KEY,
    annotation INTEGER NOT NULL
) STRICT;
