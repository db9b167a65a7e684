//! Calls of the Xen-API that no XAPI carries out: it has them, and answers each time that it does
//! not. xend is another matter: some of these work there.

/// A call that never works.
#[derive(Debug, Clone, Copy)]
pub struct Unimplemented {
    /// `host.get_log`.
    pub call: &'static str,
    /// The release that gave it up; none where no release ever had it.
    pub since: Option<&'static str>,
    /// What XAPI does instead.
    pub why: &'static str,
}

const fn never(call: &'static str) -> Unimplemented {
    Unimplemented { call, since: None, why: "XAPI has never carried it out" }
}

const fn given_up(call: &'static str, since: &'static str, why: &'static str) -> Unimplemented {
    Unimplemented { call, since: Some(since), why }
}

/// All of them.
pub static UNIMPLEMENTED: &[Unimplemented] = &[
    never("VM.add_to_VCPUs_params_live"),
    never("VM.query_services"),
    never("VM.send_sysrq"),
    never("VM.send_trigger"),
    never("console.create"),
    never("console.destroy"),
    never("host.dmesg_clear"),
    never("host.get_log"),
    never("host.list_methods"),
    given_up("SR.make", "miami", "XAPI has given it up for SR.create"),
    given_up("host_patch.apply", "miami", "XAPI has given it up for pool_patch.apply"),
    given_up("pool.test_archive_target", "clearwater", "it went with the policies of VMPP"),
];

/// What is known of a call that never works.
pub fn find(call: &str) -> Option<&'static Unimplemented> {
    UNIMPLEMENTED.iter().find(|never| never.call == call)
}

#[cfg(test)]
mod tests {
    use super::*;
    use xenapi_model::datamodel;

    #[test]
    fn the_table_names_what_there_is() {
        for never in UNIMPLEMENTED {
            assert!(datamodel().call(never.call).is_some(), "{}", never.call);
            let release = |since| {
                let mut releases = datamodel().releases.iter();
                releases.any(|release| release.code_name.as_deref() == Some(since))
            };
            assert!(never.since.is_none_or(release), "{}", never.call);
        }
    }
}
