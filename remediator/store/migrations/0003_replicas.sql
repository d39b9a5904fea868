-- Who leads, where several processes share the database. The epoch grows with every change of leader.
CREATE TABLE lease (
    name TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    url TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    since REAL NOT NULL, -- by the database's clock
    expires_at REAL NOT NULL -- by the database's clock
) STRICT;

INSERT INTO lease (name, holder, url, epoch, since, expires_at) VALUES ('leader', '', '', 0, 0, 0);

-- Of the same labels only one alert fires. Alerts of before have none, and are not ended by a later one.
ALTER TABLE alerts ADD COLUMN fingerprint TEXT NOT NULL DEFAULT '';
CREATE INDEX alerts_fingerprint ON alerts (fingerprint) WHERE firing = 1;

-- How many alerts ended how is counted at every look at the overview.
CREATE INDEX alerts_disposition ON alerts (disposition) WHERE disposition IS NOT NULL;
