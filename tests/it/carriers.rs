//! `config/carriers`: every recipe passes `config check`, and every value in it tells where it is from.

use std::path::PathBuf;

use tokio::process::Command;
use trunkline_tests::gateway::binary;

/// The recipes, by name.
fn recipes() -> Vec<(String, PathBuf, String)> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../config/carriers");
    let mut recipes: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            (name, path, text)
        })
        .collect();
    recipes.sort();
    recipes
}

/// The variables that a recipe's secrets are in.
fn variables(text: &str) -> Vec<&str> {
    let after = text.split("env = \"").skip(1);
    after.filter_map(|rest| rest.split('"').next()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_recipe_passes_config_check() {
    let recipes = recipes();
    assert!(recipes.len() >= 8, "{} recipes", recipes.len());
    for (name, path, text) in recipes {
        let mut command = Command::new(binary().unwrap());
        command.args(["config", "check"]).arg(&path);
        for variable in variables(&text) {
            command.env(variable, "longer than 8");
        }
        let output = command.output().await.unwrap();
        let said =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {said}");
    }
}

#[test]
fn every_value_of_a_recipe_has_its_source() {
    for (name, _, text) in recipes() {
        let marked: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# [")?.split_once("]  "))
            .map(|(mark, _)| mark)
            .collect();
        let sources = text.lines().filter(|line| {
            line.starts_with("# [") && (line.contains("https://") || line.contains("github.com/"))
        });
        assert!(sources.count() >= 1, "{name} names no source");
        for line in text
            .lines()
            .filter(|line| !line.starts_with('#') && line.contains(" = "))
        {
            let mark = line
                .rsplit_once("# [")
                .and_then(|(_, rest)| rest.split_once(']'));
            let mark = mark.map_or("none", |(mark, _)| mark);
            assert!(
                marked.contains(&mark),
                "{name}: {line}: [{mark}] is none of {marked:?}"
            );
        }
    }
}
