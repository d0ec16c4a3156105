//! Nobody rises: an attacker who is no superuser and may run any statements about roles, labels and pgaad's
//! functions gets no rights through pgaad that they would not have without it.

mod attacks;
mod before;
mod cases;
mod cases_order;
mod install;
mod open;
mod play;
mod replaced;
mod rules;
mod search;
mod stale;
mod state;
mod statements;
mod two_sessions;
mod walk;
mod world;
