//! The documents of the repository describe what is there.

use std::fs;
use std::path::Path;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap()
}

#[test]
fn every_file_that_the_documents_name_exists() {
    for document in ["ARCHITECTURE.md", "CONTRIBUTING.md", "README.md"] {
        for text in read(document).split('`').skip(1).step_by(2) {
            let is_path = ["src/", "tests/", "integrations/", ".ci/"]
                .iter()
                .any(|folder| text.starts_with(folder));
            let path = text.split_whitespace().next().unwrap_or_default();
            assert!(!is_path || root().join(path).exists(), "{document}: {text}");
        }
    }
}

#[test]
fn every_relative_link_of_the_readmes_has_a_target() {
    for folder in [".", "gateway", "redis"] {
        let text = read(&format!("{folder}/README.md"));
        for link in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let path = link.split('#').next().unwrap();
            let is_relative = !path.is_empty() && !path.contains("://");
            let target = root().join(folder).join(path);
            assert!(
                !is_relative || target.exists(),
                "{folder}/README.md: {link}"
            );
        }
    }
}
