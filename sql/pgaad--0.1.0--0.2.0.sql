-- From 0.1.0 to 0.2.0. Once 0.2.0 is released this file is never edited again.
\echo Use "ALTER EXTENSION pgaad UPDATE TO '0.2.0'" to load this file. \quit

-- No object changed so far.
