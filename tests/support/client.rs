//! Clients of a cluster: the superuser, who asks for facts and changes them, and an unmodified `psql`.

use crate::account;
use crate::cluster::Cluster;
use crate::wire::{Answer, Connection, Progress, Row};
use std::process::{Command, Output, Stdio};

impl Cluster {
    /// Runs SQL as the superuser, by the Unix socket.
    ///
    /// # Panics
    /// When the SQL fails.
    pub fn sql(&self, sql: &str) -> Vec<Row> {
        self.try_sql(sql).unwrap_or_else(|answer| panic!("{sql}: {answer} {} {}", answer.detail, answer.hint))
    }

    /// Runs SQL as the superuser, by the Unix socket.
    ///
    /// # Errors
    /// The server's answer, or one made of what the operating system says.
    pub fn try_sql(&self, sql: &str) -> Result<Vec<Row>, Answer> {
        self.try_sql_in("postgres", sql)
    }

    /// Runs SQL as the superuser in another database than `postgres`.
    ///
    /// # Errors
    /// As [`Cluster::try_sql`].
    pub fn try_sql_in(&self, database: &str, sql: &str) -> Result<Vec<Row>, Answer> {
        let failed = |message: String| Answer { severity: "CLIENT".into(), message, ..Answer::default() };
        let target = self.unix(database);
        let mut connection = Connection::connect(&target).map_err(|error| failed(error.to_string()))?;
        connection.startup("postgres", database, &[]).map_err(|error| failed(error.to_string()))?;
        match connection.read_login() {
            Progress::Accepted(mut session) => session.query(sql),
            Progress::Refused(answers) => {
                Err(answers.into_iter().next().unwrap_or_else(|| failed("hung up".into())))
            }
            Progress::Challenged(_) => Err(failed("the superuser is asked for a password".into())),
        }
    }

    /// The only value of SQL that gives one, as the superuser.
    ///
    /// # Panics
    /// When there is no row, or it is NULL.
    pub fn value(&self, sql: &str) -> String {
        let rows = self.sql(sql);
        let value = rows.first().and_then(|row| row.first()).cloned().flatten();
        value.unwrap_or_else(|| panic!("{sql}: no value"))
    }

    /// An unmodified `psql` with this connection string, `PGPASSWORD` if there is a password, and SQL to run.
    pub fn psql(&self, connection: &str, password: Option<&str>, sql: &str) -> Output {
        self.run_psql(Command::new(self.installation().program("psql")), connection, password, sql)
    }

    /// As [`Cluster::psql`], in the server's own network namespace.
    pub fn psql_nearby(&self, connection: &str, password: Option<&str>, sql: &str) -> Output {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.postmaster_pid()));
        command.arg("--").arg(self.installation().program("psql"));
        self.run_psql(command, connection, password, sql)
    }

    fn run_psql(&self, mut command: Command, connection: &str, password: Option<&str>, sql: &str) -> Output {
        account::clean_environment(&mut command);
        if let Some(password) = password {
            command.env("PGPASSWORD", password);
        }
        // -w: a client that is asked for a password and has none must not wait at a prompt.
        command.args(["-X", "-w", "-A", "-t", "-c", sql, "-d"]);
        command.arg(format!("port={} connect_timeout=20 {connection}", self.port()));
        command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("psql: {error}"))
    }
}
