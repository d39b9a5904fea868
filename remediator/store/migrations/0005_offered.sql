-- The index of the last step whose condition was true: whether a step is offered is decided once, and outlives a restart.
ALTER TABLE incidents ADD COLUMN offered INTEGER NOT NULL DEFAULT -1;
