//! Nobody rises: an attacker who is no superuser and may run any statements about roles, labels and pgaad's
//! functions gets no rights through pgaad that they would not have without it.

mod before;
mod cases;
mod cases_order;
mod play;
mod rules;
mod search;
mod state;
mod statements;
mod two_sessions;
mod walk;
mod world;
