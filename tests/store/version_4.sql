-- A database of version 4 with something in every table, as it was written then.
PRAGMA application_id = 1380273476;
PRAGMA user_version = 4;
BEGIN TRANSACTION;
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
INSERT INTO "alerts" VALUES(1,'["6b87cb3069843664",1763942400.123456]','{"fingerprint":"6b87cb3069843664","starts_at":1763942400.123456,"ends_at":null,"labels":{"alertname":"ErrorRatioHigh","service":"checkout"},"annotations":{"summary":"checkout is failing"},"source":"alertmanager","generator_url":""}',1,1.76394240012345600125e+09,1.76394240012345600125e+09,'checkout','opened','','opened',1);
CREATE TABLE annotations (
    key TEXT PRIMARY KEY,
    annotation INTEGER NOT NULL
) STRICT;
INSERT INTO "annotations" VALUES('incident:1',77);
CREATE TABLE counters (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT;
INSERT INTO "counters" VALUES('alerts',1);
CREATE TABLE cursors (
    name TEXT PRIMARY KEY,
    entry INTEGER NOT NULL
) STRICT;
INSERT INTO "cursors" VALUES('grafana',3);
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
, relapse_of INTEGER, first_step INTEGER NOT NULL DEFAULT 0, first_attempt INTEGER NOT NULL DEFAULT 1, owes TEXT NOT NULL DEFAULT '[]') STRICT;
INSERT INTO "incidents" VALUES(1,'checkout','web',1.76394240012345600125e+09,'failed','error_ratio of checkout is 0.2 > 0.1','{"service":{"name":"checkout","labels":{"service":"checkout","tier":"web"},"match":[{"name":"service","op":"=","value":"checkout"}],"target":{"name":"systemd","params":{"unit":"checkout.service"},"actions":{"drain":{"shell":"echo {{ labels.x }}"}}},"depends_on":["postgres"]},"runbook":{"name":"web","steps":[{"name":"restart","action":"restart","attempts":2},{"name":"scale","action":"scale","args":{"by":1,"max":6},"when":["failed"],"unless":"up > 0","timeout":2.5}],"match":[{"name":"tier","op":"=~","value":"web|api"}],"verify":{"healthy_for":15.0,"within":120.0},"limits":{"cooldown":600.0,"rate":[{"count":3,"window":3600.0},{"count":7,"window":86400.0}],"blast_radius":{"value":30,"percent":true},"breaker":{"count":3,"window":21600.0}}},"target":{"name":"systemd","params":{"unit":"{{ service.name }}.service","host":null},"actions":{"restart":{"run":["systemctl"]}}}}','{"service":"checkout","ünicode":"a \"b\" \\ \n\t\u0000"}','{"summary":"it is failing"}','alertmanager','["error_ratio"]',0,NULL,NULL,1.76394246012345600133e+09,'recovered','it recovered',NULL,0,1,'[]');
INSERT INTO "incidents" VALUES(2,'db','web',1.76394240012345600125e+09,'failed','error_ratio of db is 0.2 > 0.1','{"service":{"name":"db","labels":{"service":"db","tier":"web"},"match":[{"name":"service","op":"=","value":"db"}],"target":{"name":"systemd","params":{"unit":"db.service"},"actions":{"drain":{"shell":"echo {{ labels.x }}"}}},"depends_on":["postgres"]},"runbook":{"name":"web","steps":[{"name":"restart","action":"restart","attempts":2},{"name":"scale","action":"scale","args":{"by":1,"max":6},"when":["failed"],"unless":"up > 0","timeout":2.5}],"match":[{"name":"tier","op":"=~","value":"web|api"}],"verify":{"healthy_for":15.0,"within":120.0},"limits":{"cooldown":600.0,"rate":[{"count":3,"window":3600.0},{"count":7,"window":86400.0}],"blast_radius":{"value":30,"percent":true},"breaker":{"count":3,"window":21600.0}}},"target":{"name":"systemd","params":{"unit":"{{ service.name }}.service","host":null},"actions":{"restart":{"run":["systemctl"]}}}}','{"service":"db","ünicode":"a \"b\" \\ \n\t\u0000"}','{"summary":"it is failing"}','alertmanager','["error_ratio"]',0,NULL,NULL,NULL,NULL,'',1,1,2,'["restart"]');
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
INSERT INTO "journal" VALUES(1,1.76394240012345600125e+09,'incident_opened','error_ratio of checkout is 0.2 > 0.1','checkout',1,NULL,'{"runbook":"web","health":"failed","labels":{"service":"checkout","ünicode":"a \"b\" \\ \n\t\u0000"},"annotations":{"summary":"it is failing"},"thresholds":["error_ratio"],"source":"alertmanager"}');
INSERT INTO "journal" VALUES(2,1.76394240112345600125e+09,'step_started','runs restart','checkout',1,1,'{"step":0,"attempt":1,"action":"restart","call":"systemctl restart checkout","runbook":"web"}');
INSERT INTO "journal" VALUES(3,1.76394240212345600128e+09,'step_ended','restart succeeded','checkout',1,1,'{"step":0,"attempt":1,"action":"restart","outcome":"succeeded","exit_code":0,"output":"done\n","call":"systemctl restart checkout","started_at":1763942401.123456,"runbook":"web"}');
INSERT INTO "journal" VALUES(4,1.76394240312345600132e+09,'passed_over','at its limit','checkout',1,2,'{"step":1,"action":"scale","runbook":"web"}');
INSERT INTO "journal" VALUES(5,1.76394246012345600133e+09,'incident_closed','it recovered','checkout',1,NULL,'{"verdict":"recovered","runbook":"web","opened_at":1763942400.123456,"action":"restart","health":"healthy"}');
INSERT INTO "journal" VALUES(6,1.76394240012345600125e+09,'incident_opened','error_ratio of db is 0.2 > 0.1','db',2,NULL,'{"runbook":"web","health":"failed","labels":{"service":"db","ünicode":"a \"b\" \\ \n\t\u0000"},"annotations":{"summary":"it is failing"},"thresholds":["error_ratio"],"source":"alertmanager"}');
INSERT INTO "journal" VALUES(7,1.76394246112345600124e+09,'step_started','runs restart','db',2,3,'{"step":0,"attempt":1,"action":"restart","call":"systemctl restart db","runbook":"web"}');
INSERT INTO "journal" VALUES(8,1.76394240012345600125e+09,'paused','ada paused healing of tier="web" until 2025-11-24T02:00:00.123Z: load test','',NULL,NULL,'{"pause":1,"matchers":"tier=\"web\"","ends_at":1763949600.123456,"author":"ada","comment":"load test"}');
INSERT INTO "journal" VALUES(9,1.76394240012345600125e+09,'service_added','ada added the service search','search',NULL,NULL,'{"author":"ada"}');
CREATE TABLE pauses (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    matchers TEXT NOT NULL, -- JSON
    starts_at REAL NOT NULL,
    ends_at REAL NOT NULL,
    author TEXT NOT NULL,
    comment TEXT NOT NULL
) STRICT;
INSERT INTO "pauses" VALUES(1,'[{"name":"tier","op":"=","value":"web"}]',1.76394240012345600125e+09,1.76394960012345600134e+09,'ada','load test');
CREATE TABLE services (
    name TEXT PRIMARY KEY,
    service TEXT NOT NULL, -- JSON
    author TEXT NOT NULL,
    added_at REAL NOT NULL
) STRICT;
INSERT INTO "services" VALUES('search','{"name":"search","labels":{"service":"search","tier":"web"},"match":[{"name":"service","op":"=","value":"search"}],"target":{"name":"systemd","params":{"unit":"search.service"},"actions":{"drain":{"shell":"echo {{ labels.x }}"}}},"depends_on":["postgres"]}','ada',1.76394240012345600125e+09);
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
INSERT INTO "step_runs" VALUES(1,1,'checkout','web',0,1,'restart',1.76394240112345600125e+09,1.76394249012345600124e+09,1.76394240212345600128e+09,'succeeded','restart succeeded','systemctl restart checkout','done
',0,1);
INSERT INTO "step_runs" VALUES(2,1,'checkout','web',1,0,'scale',1.76394240312345600132e+09,1.76394240312345600132e+09,1.76394240312345600132e+09,'skipped','at its limit','','',NULL,1);
INSERT INTO "step_runs" VALUES(3,2,'db','web',0,1,'restart',1.76394246112345600124e+09,1.76394249012345600124e+09,NULL,NULL,'runs restart','systemctl restart db','',NULL,0);
CREATE INDEX alerts_firing ON alerts (seq) WHERE firing = 1;
CREATE INDEX alerts_resolved ON alerts (updated_at) WHERE firing = 0;
CREATE INDEX alerts_service ON alerts (service, seq);
CREATE UNIQUE INDEX one_open_incident_per_service ON incidents (service) WHERE closed_at IS NULL;
CREATE INDEX incidents_closed ON incidents (closed_at, verdict, opened_at) WHERE closed_at IS NOT NULL;
CREATE INDEX incidents_service ON incidents (service, id);
CREATE UNIQUE INDEX one_run_per_attempt ON step_runs (incident, step, attempt);
CREATE UNIQUE INDEX one_running_step_per_incident ON step_runs (incident) WHERE ended_at IS NULL;
CREATE INDEX step_runs_started ON step_runs (started_at);
CREATE INDEX pauses_ends ON pauses (ends_at);
CREATE INDEX journal_at ON journal (at);
CREATE INDEX journal_service ON journal (service, id);
CREATE INDEX journal_incident ON journal (incident, id) WHERE incident IS NOT NULL;
CREATE TABLE lease (
    name TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    url TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    since REAL NOT NULL, -- by the database's clock
    expires_at REAL NOT NULL -- by the database's clock
) STRICT;
INSERT INTO lease (name, holder, url, epoch, since, expires_at) VALUES ('leader', '', '', 0, 0, 0);
ALTER TABLE alerts ADD COLUMN fingerprint TEXT NOT NULL DEFAULT '';
CREATE INDEX alerts_fingerprint ON alerts (fingerprint) WHERE firing = 1;
CREATE INDEX alerts_disposition ON alerts (disposition) WHERE disposition IS NOT NULL;
UPDATE alerts SET fingerprint = key ->> 0;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('incidents',2);
INSERT INTO "sqlite_sequence" VALUES('journal',9);
INSERT INTO "sqlite_sequence" VALUES('step_runs',3);
INSERT INTO "sqlite_sequence" VALUES('pauses',1);
-- Alerts of which it is not decided yet what becomes of them are asked for every minute; there are few.
CREATE INDEX alerts_undecided ON alerts (seq) WHERE disposition IS NULL;
COMMIT;
