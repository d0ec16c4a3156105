-- One statement, or several of one query, between lines of dashes. @ is a word that is not ASCII.
DO $$ BEGIN PERFORM 1 / 0; END $$
----
DO $$ BEGIN RAISE EXCEPTION 'größe'; END $$ LANGUAGE nowhere
----
DO $$ BEGIN RAISE EXCEPTION '@ %', 1 USING ERRCODE = 'PT429'; END $$
----
DO $$ BEGIN RAISE division_by_zero; END $$
----
DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '0A001', MESSAGE = '', HINT = '@'; END $$
----
DO $$ BEGIN EXECUTE 'SELEC 1'; END $$
----
DO $$ BEGIN EXECUTE 'SELECT "column @" FROM parent'; END $$
----
DO $$ BEGIN PERFORM nothing FROM parent; END $$
----
DO $$ BEGIN IF 1 THE END $$
----
DO $$ DECLARE n int; BEGIN n := 'abc'; END $$
----
DO $$ DECLARE n positive; BEGIN n := -1; END $$
----
DO $$ DECLARE n int NOT NULL := NULL; BEGIN END $$
----
DO $$ BEGIN ASSERT false, 'assert @'; END $$
----
DO $$ BEGIN PERFORM too_many(); EXCEPTION WHEN SQLSTATE 'PT429' THEN RAISE NOTICE 'entered @'; RAISE; END $$
----
DO $$ BEGIN CALL throttle(); EXCEPTION WHEN SQLSTATE 'PT429' THEN RAISE WARNING 'entered @' USING ERRCODE = '01P99', TABLE = 'table @'; END $$
----
DO $$ BEGIN DO 'BEGIN CALL nested(2); END'; EXCEPTION WHEN OTHERS THEN RAISE EXCEPTION 'again: %', SQLERRM USING ERRCODE = SQLSTATE; END $$
----
DO $$ BEGIN BEGIN EXECUTE 'CREATE TABLE parent ()'; EXCEPTION WHEN duplicate_table THEN RAISE NOTICE '% %', SQLSTATE, SQLERRM; END; EXECUTE 'DROP TABLE nowhere'; END $$
----
DO $$ BEGIN COMMIT; INSERT INTO written VALUES ('in a DO block'); ROLLBACK; PERFORM divide(0); END $$
----
BEGIN; DO $$ BEGIN COMMIT; END $$
----
ROLLBACK
----
DO $$ BEGIN SAVEPOINT s; END $$
----
CALL throttle()
----
CALL nested(5)
----
CALL caught()
----
CALL told()
----
CALL commits()
----
CALL rolls_back()
----
CALL commits_in_handler()
----
CALL commits_at_last()
----
BEGIN; CALL commits()
----
ROLLBACK
----
CALL nowhere(1, '@')
----
CALL divide(1)
----
CALL nested('abc')
----
SELECT nested(1)
----
SELECT calls()
----
SELECT 1; SELECT 2; CALL nested(1); SELECT 3
----
SELECT 1; CREATE INDEX ON parent (nothing); SELECT 3
----
PREPARE p(int) AS SELECT divide($1); EXECUTE p(1); EXECUTE p(0)
----
EXECUTE p(0)
----
EXECUTE p
----
EXECUTE p('@')
----
EXECUTE nowhere
----
PREPARE p AS SELECT 1
----
DEALLOCATE p
----
DEALLOCATE p
----
PREPARE q AS SELECT nothing
----
EXPLAIN SELECT nothing
----
EXPLAIN (COSTS off, ANALYZE, TIMING off, SUMMARY off) SELECT divide(0)
----
EXPLAIN (ANALYZE, COSTS off) INSERT INTO parent VALUES (1, 'one', 1)
----
EXPLAIN (ANALYZE, COSTS off) CREATE TABLE made AS SELECT cast_it('@')
----
EXPLAIN (NOTHING) SELECT 1
----
CREATE INDEX ON parent (divide(0 * id))
----
CREATE INDEX i ON parent ((1 / (id - 1)))
----
CREATE UNIQUE INDEX twice ON parent (name)
----
CREATE UNIQUE INDEX "twice @" ON parent (name) WHERE name <> '@'
----
CREATE INDEX ON nowhere (a)
----
CREATE INDEX ON parent USING nowhere (id)
----
CREATE INDEX CONCURRENTLY i ON nowhere (a)
----
BEGIN; CREATE INDEX CONCURRENTLY i ON parent (id)
----
ROLLBACK
----
CREATE VIEW v AS SELECT nothing, id FROM parent
----
CREATE OR REPLACE VIEW names AS SELECT id FROM parent
----
CREATE VIEW v AS SELECT '@'::int
----
CREATE MATERIALIZED VIEW m AS SELECT divide(0)
----
REFRESH MATERIALIZED VIEW names
----
CREATE TABLE parent (a int)
----
CREATE TABLE IF NOT EXISTS parent (a int)
----
CREATE TABLE made (a int, a int)
----
CREATE TABLE made (a nowhere)
----
CREATE TABLE made (a int DEFAULT nothing)
----
CREATE TABLE made (a int REFERENCES parent (amount))
----
CREATE TABLE made AS SELECT 1 / 0
----
CREATE TABLE made (a int) INHERITS (nowhere)
----
CREATE TABLE made (a int, b int GENERATED ALWAYS AS (b) STORED)
----
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (5) TO (20)
----
ALTER TABLE parted ATTACH PARTITION parent FOR VALUES FROM (20) TO (30)
----
CREATE TYPE color AS ENUM ('blue')
----
CREATE TYPE t AS (a nowhere)
----
CREATE TYPE t AS ENUM ('a label that is longer than sixty-three bytes, and so cannot be one @')
----
ALTER TYPE color ADD VALUE 'red'
----
ALTER TYPE color RENAME VALUE 'nowhere' TO '@'
----
ALTER TYPE pair ADD ATTRIBUTE a int
----
CREATE DOMAIN positive AS int
----
CREATE DOMAIN d AS int DEFAULT '@'
----
ALTER DOMAIN positive ADD CONSTRAINT "more than @" CHECK (VALUE > 1)
----
ALTER DOMAIN positive DROP CONSTRAINT nowhere
----
CREATE TRIGGER t BEFORE INSERT ON parent EXECUTE FUNCTION nowhere()
----
CREATE TRIGGER t BEFORE INSERT ON names EXECUTE FUNCTION refuse_row()
----
TRUNCATE closed
----
TRUNCATE parent
----
CREATE RULE r AS ON SELECT TO parent DO INSTEAD SELECT 1
----
CREATE RULE r AS ON INSERT TO parent DO ALSO INSERT INTO nowhere VALUES (1)
----
CREATE POLICY own ON secured USING (true)
----
CREATE POLICY p ON secured USING (nothing)
----
CREATE POLICY p ON secured TO "nobody @" USING (true)
----
ALTER POLICY nowhere ON secured USING (true)
----
CREATE EXTENSION nowhere
----
CREATE EXTENSION plpgsql
----
CREATE EXTENSION plpgsql VERSION '@'
----
ALTER EXTENSION nowhere UPDATE
----
DROP EXTENSION nowhere
----
DROP EXTENSION IF EXISTS "nowhere @"
----
ALTER TABLE parent ADD CONSTRAINT few CHECK (amount < 2)
----
ALTER TABLE parent ADD CONSTRAINT "unique @" UNIQUE (name)
----
ALTER TABLE parent ALTER amount SET NOT NULL
----
ALTER TABLE parent ALTER name TYPE int USING name::int
----
ALTER TABLE parent ALTER name TYPE int
----
ALTER TABLE parent ALTER id TYPE positive USING -id
----
ALTER TABLE parent DROP COLUMN nothing
----
ALTER TABLE parent DROP COLUMN name
----
ALTER TABLE parent ADD COLUMN name int
----
ALTER TABLE parent RENAME TO child
----
ALTER TABLE parent RENAME COLUMN nothing TO something
----
ALTER TABLE parent SET SCHEMA nowhere
----
ALTER TABLE parent OWNER TO "nobody @"
----
ALTER TABLE child ADD CONSTRAINT "fk @" FOREIGN KEY (id) REFERENCES of_domain
----
ALTER TABLE child ALTER parent SET DEFAULT '@'
----
ALTER TABLE child VALIDATE CONSTRAINT nowhere
----
ALTER TABLE nowhere ADD COLUMN a int
----
ALTER TABLE "table @" ADD CONSTRAINT "constraint @" CHECK (true)
----
ALTER SEQUENCE depth MAXVALUE 0
----
DROP TABLE parent
----
DROP TABLE nowhere, parent
----
DROP TABLE IF EXISTS nowhere, "nowhere @"
----
DROP TYPE positive
----
DROP SCHEMA public
----
DROP VIEW parent
----
DROP FUNCTION divide
----
DROP FUNCTION divide(text)
----
DROP FUNCTION refuse_row()
----
CREATE FUNCTION divide(n int) RETURNS text LANGUAGE sql AS 'SELECT 1'
----
CREATE OR REPLACE FUNCTION divide(n int) RETURNS text LANGUAGE sql AS 'SELECT ''a'''
----
CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT nothing, ''@'''
----
CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN nothing @ END'
----
CREATE FUNCTION f() RETURNS int LANGUAGE c AS 'nowhere', 'f'
----
CREATE FUNCTION f() RETURNS int LANGUAGE internal AS 'nowhere'
----
CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT nothing; END
----
CREATE AGGREGATE a(int) (SFUNC = nowhere, STYPE = int)
----
CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = nowhere)
----
CREATE CAST (int AS text) WITH FUNCTION divide(int)
----
CREATE COLLATION c (LOCALE = 'nowhere_@')
----
CREATE STATISTICS s ON id FROM parent
----
CREATE ACCESS METHOD a TYPE INDEX HANDLER nowhere
----
CREATE EVENT TRIGGER e ON nowhere EXECUTE FUNCTION refuse_row()
----
CREATE TEXT SEARCH CONFIGURATION t (PARSER = nowhere)
----
CREATE SERVER s FOREIGN DATA WRAPPER nowhere
----
CREATE USER MAPPING FOR "nobody @" SERVER nowhere
----
CREATE PUBLICATION p FOR TABLE names
----
CREATE SUBSCRIPTION s CONNECTION 'nowhere' PUBLICATION p
----
CREATE SCHEMA other
----
CREATE SCHEMA pg_other
----
CREATE SCHEMA made CREATE TABLE t (a int) CREATE VIEW v AS SELECT nothing FROM t
----
CREATE DATABASE postgres
----
BEGIN; CREATE DATABASE made
----
ROLLBACK
----
DROP DATABASE "nowhere @"
----
ALTER DATABASE nowhere SET work_mem = '1MB'
----
CREATE TABLESPACE t LOCATION 'nowhere'
----
COPY parent FROM STDIN
----
COPY parent (id, name) FROM STDIN WITH (FORMAT csv, NOTHING true)
----
COPY nowhere TO STDOUT
----
COPY (SELECT divide(0)) TO STDOUT
----
COPY parent FROM '/nowhere/at all'
----
COPY parent FROM STDIN WITH (ENCODING 'nowhere')
----
LOCK TABLE nowhere
----
LOCK TABLE parent
----
BEGIN; LOCK TABLE parent IN ACCESS SHARE MODE; LOCK TABLE depth
----
ROLLBACK
----
VACUUM nowhere
----
VACUUM (NOTHING) parent
----
ANALYZE parent (nothing)
----
CLUSTER parent
----
REINDEX TABLE nowhere
----
REINDEX INDEX parent
----
SET nothing = 1
----
SET work_mem = 'a lot @'
----
SET TimeZone = '@'
----
SET LOCAL work_mem = '1MB'
----
SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL nothing
----
SHOW nothing
----
RESET nothing
----
SAVEPOINT s
----
BEGIN; SAVEPOINT "s @"; ROLLBACK TO nowhere
----
COMMIT
----
COMMIT
----
BEGIN; BEGIN; SELECT 1 / 0
----
SELECT 1
----
CALL throttle()
----
COMMIT
----
PREPARE TRANSACTION 'p'
----
COMMIT PREPARED 'nowhere @'
----
BEGIN; INSERT INTO child VALUES (8, 1, NULL, 99); COMMIT
----
BEGIN; SET CONSTRAINTS nowhere DEFERRED
----
ROLLBACK
----
DECLARE c CURSOR FOR SELECT 1
----
BEGIN; DECLARE c CURSOR FOR SELECT divide(n) FROM generate_series(1, -1, -1) n; FETCH c; FETCH c
----
ROLLBACK
----
FETCH nowhere
----
MOVE "nowhere @"
----
CLOSE nowhere
----
NOTIFY "a channel whose name is longer than sixty-three bytes, and so cannot be one"
----
LOAD 'nowhere'
----
DISCARD TEMP
----
COMMENT ON TABLE nowhere IS '@'
----
COMMENT ON ROLE "nobody @" IS 'a'
----
ALTER SYSTEM SET nothing = 1
----
ALTER SYSTEM SET work_mem = '@'
----
ALTER DEFAULT PRIVILEGES FOR ROLE nobody GRANT SELECT ON TABLES TO PUBLIC
----
GRANT SELECT ON nowhere TO PUBLIC
----
GRANT SELECT (nothing) ON parent TO PUBLIC
----
GRANT SELECT ON parent TO "nobody @"
----
REVOKE ALL ON SCHEMA nowhere FROM PUBLIC
----
GRANT USAGE ON parent TO PUBLIC
----
REASSIGN OWNED BY nobody TO plain
----
DROP OWNED BY "nobody @"
----
CREATE ROLE plain
----
CREATE ROLE pg_plain
----
CREATE ROLE "plain @" NOTHING
----
CREATE ROLE r IN ROLE nobody
----
CREATE ROLE r CONNECTION LIMIT -5
----
CREATE ROLE r VALID UNTIL 'never @'
----
CREATE USER r ADMIN plain, nobody
----
CREATE GROUP r ROLE "nobody @"
----
ALTER ROLE nobody LOGIN
----
ALTER ROLE "nobody @" SET work_mem = '1MB'
----
ALTER ROLE plain SET work_mem = 'a lot'
----
ALTER ROLE plain SET nothing = 1
----
ALTER ROLE plain VALID UNTIL '@'
----
ALTER ROLE plain RENAME TO owner
----
ALTER ROLE nobody RENAME TO somebody
----
ALTER ROLE plain RENAME TO "pg_@"
----
ALTER GROUP nobody ADD USER plain
----
ALTER GROUP plain ADD USER plain
----
ALTER GROUP plain DROP USER owner
----
ALTER USER nobody PASSWORD 'secret'
----
GRANT nobody TO plain
----
GRANT plain TO "nobody @"
----
GRANT plain TO plain
----
GRANT plain TO owner GRANTED BY nobody
----
GRANT plain TO PUBLIC
----
REVOKE plain FROM nobody
----
REVOKE plain FROM owner
----
REVOKE ADMIN OPTION FOR plain FROM owner
----
DROP ROLE nobody
----
DROP ROLE IF EXISTS nobody, "nobody @"
----
DROP ROLE owner
----
DROP ROLE plain, nobody
----
DROP ROLE CURRENT_USER
----
SET ROLE "nobody @"
----
BEGIN; CREATE ROLE "made @" PASSWORD ''; GRANT "made @" TO plain; GRANT "made @" TO plain; REVOKE "made @" FROM owner; ROLLBACK
----
BEGIN; CREATE USER made SYSID 5 IN ROLE plain ROLE owner; ALTER ROLE made RENAME TO "made @"; DROP ROLE "made @"; ROLLBACK
----
BEGIN; CREATE GROUP made USER plain; ALTER GROUP made DROP USER plain, owner; DROP OWNED BY plain; ROLLBACK
----
ROLLBACK
----
SET SESSION AUTHORIZATION nobody
----
DO $$ BEGIN EXECUTE 'DROP ROLE "nobody @"'; EXCEPTION WHEN undefined_object THEN RAISE NOTICE '% %', SQLSTATE, SQLERRM; END $$
----
DO $$ BEGIN EXECUTE 'CREATE ROLE plain'; END $$
----
DO $$ BEGIN DROP ROLE owner; EXCEPTION WHEN dependent_objects_still_exist THEN RAISE; END $$
----
SECURITY LABEL FOR nowhere ON TABLE parent IS '@'
----
SECURITY LABEL FOR "nowhere @" ON ROLE plain IS 'a'
----
INSERT INTO parent VALUES (1, 'one', 1)
----
INSERT INTO parent VALUES (9, '', 1)
----
INSERT INTO "table @" VALUES (0)
----
INSERT INTO of_domain VALUES (0)
----
INSERT INTO child VALUES (7, 99, NULL, NULL)
----
INSERT INTO parted VALUES (99)
----
INSERT INTO closed VALUES (1)
----
INSERT INTO secured VALUES ('@')
----
UPDATE parent SET name = NULL WHERE id = 4
----
DELETE FROM parent WHERE id = 1
----
MERGE INTO parent USING (VALUES (1), (1)) v(n) ON id = n WHEN MATCHED THEN UPDATE SET amount = divide(0)
----
SELECT cast_it('@')
----
SELECT '@'::color, 'nowhere'::color
----
SELECT divide(0) FROM parent
----
SELECT "column @" FROM parent
----
SELECT * FROM json_populate_record(NULL::pair, '{"a": "@"}')
----
SELECT 'a' || nothing || '@'
----
SELECT (((
----
SELECT 'not closed
----
SELECT pg_advisory_xact_lock(1) FROM nowhere @
----
SET statement_timeout = 30; CALL nested(0); RESET statement_timeout
----
SET statement_timeout = 30; DO $$ BEGIN PERFORM pg_sleep(60); EXCEPTION WHEN division_by_zero THEN NULL; END $$
----
RESET statement_timeout
----
SELECT string_agg(what, ', ') FROM written
----
DO $$ DECLARE caught int := 0; BEGIN FOR n IN 1..20000 LOOP BEGIN CALL throttle(); EXCEPTION WHEN SQLSTATE 'PT429' THEN caught := caught + 1; END; END LOOP; RAISE NOTICE 'caught %', caught; END $$
----
CALL deep()
----
SELECT last_value FROM depth
