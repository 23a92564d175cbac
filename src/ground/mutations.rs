//! Small wrong behaviours, one at a time, to see that the scenarios of the oracle catch each.
//!
//! Only with `--cfg nodeloop_mutations`, and for the one that `NODELOOP_MUTATION` names; otherwise
//! `mutated!` is `false`, and nothing of this is compiled. `tests/oracle/README.md` has the command.

/// Whether this behaviour is to be wrong now.
#[cfg(nodeloop_mutations)]
macro_rules! mutated {
    ($what:literal) => {
        $crate::ground::mutations::is_chosen($what)
    };
}

/// Never: it was not asked for when this was compiled.
#[cfg(not(nodeloop_mutations))]
macro_rules! mutated {
    ($what:literal) => {
        false
    };
}

pub(crate) use mutated;

/// Whether this one was named.
#[cfg(nodeloop_mutations)]
pub(crate) fn is_chosen(what: &str) -> bool {
    static CHOSEN: std::sync::LazyLock<Option<String>> =
        std::sync::LazyLock::new(|| std::env::var("NODELOOP_MUTATION").ok());
    CHOSEN.as_deref() == Some(what)
}
