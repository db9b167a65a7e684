//! OpenMetrics as the text format of Prometheus, version 0.0.4.
//!
//! The samples are the same in both. The older format describes a family under the name of its
//! samples (`x_total`, not `x`), has fewer types and no units, and ends without saying so.

/// The same metrics in the older format.
pub(super) fn from_openmetrics(text: &str) -> String {
    let (mut out, mut help) = (String::with_capacity(text.len()), None);
    for line in text.lines() {
        if let Some(described) = line.strip_prefix("# HELP ") {
            // Its name depends on the type, which comes next.
            help = described.split_once(' ').map(|(_, help)| help);
        } else if let Some(typed) = line.strip_prefix("# TYPE ") {
            let (name, kind) = typed.split_once(' ').unwrap_or((typed, "unknown"));
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "stateset" => ("", "gauge"),
                "unknown" => ("", "untyped"),
                other => ("", other),
            };
            if let Some(help) = help.take() {
                out.extend(["# HELP ", name, suffix, " ", help, "\n"]);
            }
            out.extend(["# TYPE ", name, suffix, " ", kind, "\n"]);
        } else if !line.starts_with("# UNIT ") && line != "# EOF" {
            out.extend([line, "\n"]);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_go_by_the_names_of_their_samples() {
        let open = "# HELP a Things.\n# TYPE a counter\na_total{x=\"# EOF\"} 1\n\
            # HELP b_seconds Time.\n# TYPE b_seconds gauge\n# UNIT b_seconds seconds\nb_seconds 0.5\n\
            # TYPE c info\nc_info{v=\"1\"} 1\n# TYPE d unknown\nd 1\n# EOF\n";
        let classic = "# HELP a_total Things.\n# TYPE a_total counter\na_total{x=\"# EOF\"} 1\n\
            # HELP b_seconds Time.\n# TYPE b_seconds gauge\nb_seconds 0.5\n\
            # TYPE c_info gauge\nc_info{v=\"1\"} 1\n# TYPE d untyped\nd 1\n";
        assert_eq!(from_openmetrics(open), classic);
    }
}
