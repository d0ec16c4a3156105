//! What is wrong with the server around the decision: the lines of `pg_hba.conf` and the PAM service files, judged as
//! text and plain data. Nothing here reads a file or calls PostgreSQL.

pub mod defect;
pub mod hba;
pub mod pam_file;
