-- Alerts of which it is not decided yet what becomes of them are asked for every minute; there are few.
CREATE INDEX alerts_undecided ON alerts (seq) WHERE disposition IS NULL;
