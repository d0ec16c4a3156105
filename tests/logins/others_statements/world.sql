-- What the statements of others_statements.rs are about. @ is a word that is not ASCII, in the database's encoding.
CREATE TABLE parent (id int PRIMARY KEY, name text NOT NULL CONSTRAINT has_name CHECK (name <> ''), amount numeric);
INSERT INTO parent VALUES (1, 'one', 1), (2, 'two', 2), (3, 'two', NULL), (4, '@', 4);
CREATE TABLE child (id int PRIMARY KEY, parent int CONSTRAINT child_parent REFERENCES parent, tags text[],
                    later int CONSTRAINT child_later REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
INSERT INTO child VALUES (1, 1, NULL, NULL);
CREATE TABLE "table @" ("column @" int CONSTRAINT "constraint @" CHECK ("column @" > 0));
CREATE DOMAIN positive AS int CONSTRAINT is_positive CHECK (VALUE > 0);
CREATE TABLE of_domain (value positive);
INSERT INTO of_domain VALUES (1);
CREATE TYPE color AS ENUM ('red', 'green', '@');
CREATE TYPE pair AS (a int, b text);
CREATE VIEW names AS SELECT name FROM parent;
CREATE SCHEMA other;
CREATE SEQUENCE depth;
CREATE TABLE written (what text);
CREATE TABLE parted (k int) PARTITION BY RANGE (k);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (10);
CREATE TABLE secured (who text);
ALTER TABLE secured ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON secured USING (who = current_user) WITH CHECK (who = current_user);

CREATE FUNCTION divide(n int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN 1 / n; END $$;
CREATE FUNCTION cast_it(t text) RETURNS int LANGUAGE sql AS $$ SELECT t::int $$;
CREATE FUNCTION refuse_row() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    RAISE EXCEPTION 'no rows here, %', TG_NAME USING ERRCODE = 'ZZ001', TABLE = TG_TABLE_NAME, SCHEMA = TG_TABLE_SCHEMA;
END $$;
CREATE TABLE closed (n int);
CREATE TRIGGER "trigger @" BEFORE INSERT OR TRUNCATE ON closed EXECUTE FUNCTION refuse_row();
CREATE FUNCTION too_many() RETURNS void LANGUAGE plpgsql AS $$ BEGIN
    RAISE EXCEPTION 'too many requests of @' USING ERRCODE = 'PT429', DETAIL = 'detail @', HINT = 'hint @',
        COLUMN = 'column @', CONSTRAINT = 'constraint @', DATATYPE = 'type @', TABLE = 'table @', SCHEMA = 'schema @';
END $$;
CREATE PROCEDURE throttle() LANGUAGE plpgsql AS $$ BEGIN PERFORM too_many(); END $$;
CREATE PROCEDURE nested(n int) LANGUAGE plpgsql AS $$ BEGIN
    IF n = 0 THEN CALL throttle(); ELSE CALL nested(n - 1); END IF;
END $$;
CREATE PROCEDURE caught() LANGUAGE plpgsql AS $$ BEGIN
    CALL nested(3);
EXCEPTION WHEN SQLSTATE 'PT429' THEN
    RAISE NOTICE 'entered: %', SQLERRM USING ERRCODE = 'PT200', DETAIL = 'detail @', HINT = 'hint @';
END $$;
CREATE PROCEDURE told() LANGUAGE plpgsql AS $$
DECLARE
    code text; message text; detail text; hint text; context text; col text; con text; typ text; tab text; sch text;
BEGIN
    CALL nested(2);
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
        hint = PG_EXCEPTION_HINT, context = PG_EXCEPTION_CONTEXT, col = COLUMN_NAME, con = CONSTRAINT_NAME,
        typ = PG_DATATYPE_NAME, tab = TABLE_NAME, sch = SCHEMA_NAME;
    RAISE NOTICE '% % % % % % % % % %', code, message, detail, hint, context, col, con, typ, tab, sch;
    RAISE;
END $$;
CREATE PROCEDURE commits() LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO written VALUES ('kept');
    COMMIT;
    INSERT INTO written VALUES ('lost');
    CALL nested(1);
END $$;
CREATE PROCEDURE rolls_back() LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO written VALUES ('lost, too');
    ROLLBACK;
    INSERT INTO written VALUES ('kept, too');
    COMMIT AND CHAIN;
    PERFORM divide(0);
END $$;
CREATE PROCEDURE commits_in_handler() LANGUAGE plpgsql AS $$ BEGIN
    BEGIN COMMIT; EXCEPTION WHEN OTHERS THEN RAISE; END;
END $$;
CREATE PROCEDURE commits_at_last() LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO child VALUES (9, 1, NULL, 99);
    COMMIT;
END $$;
CREATE PROCEDURE deep() LANGUAGE plpgsql AS $$ BEGIN PERFORM nextval('depth'); CALL deep(); END $$;
CREATE FUNCTION calls() RETURNS void LANGUAGE sql AS $$ CALL throttle() $$;
