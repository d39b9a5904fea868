-- What an incident goes on with: the one it relapsed from, where its ladder begins, and what is still to be put back.
ALTER TABLE incidents ADD COLUMN relapse_of INTEGER;
ALTER TABLE incidents ADD COLUMN first_step INTEGER NOT NULL DEFAULT 0;
ALTER TABLE incidents ADD COLUMN first_attempt INTEGER NOT NULL DEFAULT 1;
ALTER TABLE incidents ADD COLUMN owes TEXT NOT NULL DEFAULT '[]'; -- JSON
