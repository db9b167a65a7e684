//! What a domain's s-expression says, where its words are not the Xen-API's.

use crate::wire::Limits;
use crate::wire::sxp::{self, Sxp};

/// The domain in a JSON text, if it is one.
pub(super) fn domain(json: &str) -> Option<Sxp> {
    sxp::read(json.as_bytes(), Limits::default()).ok().filter(|sxp| sxp.is("domain"))
}

/// The Xen-API's word for a domain's state.
pub(super) fn power_state(domain: &Sxp) -> &'static str {
    domain.power_state()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_has_a_state() {
        for (json, want) in [
            (r#"["domain",["status",0]]"#, "Halted"),
            (r#"["domain",["status","2"]]"#, "Running"),
            (r#"["domain",["status",5]]"#, "Crashed"),
            (r#"["domain",["status",6]]"#, "Unknown"),
            (r#"["domain"]"#, "Halted"),
            (r#"["domain",["domid",3],["state","-b----"]]"#, "Running"),
        ] {
            assert_eq!(power_state(&domain(json).expect(json)), want);
        }
        for other in ["[]", "\"domain\"", "[\"host\"]", "{}", "[[\"domain\"]]", "nonsense"] {
            assert!(domain(other).is_none(), "{other}");
        }
    }
}
