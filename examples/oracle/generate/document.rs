//! A scenario while it is made, and while it is shrunk: a list of blocks with lines.

use std::path::Path;

use crate::oracle::scenario::Scenario;

/// A scenario in pieces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// `key = value`, and `peer NAME`.
    pub head: Vec<String>,
    /// What is done when.
    pub blocks: Vec<Block>,
}

/// `start` or `on …`, and what is done then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    pub on: String,
    pub actions: Vec<String>,
}

impl Document {
    pub fn new(title: &str) -> Document {
        let start = Block {
            on: "start".into(),
            actions: Vec::new(),
        };
        Document {
            head: vec![format!("title = {title}"), "deadline = 4000".into()],
            blocks: vec![start],
        }
    }

    pub fn head(&mut self, line: impl Into<String>) {
        self.head.push(line.into());
    }

    /// Adds a line to what is done at `start`, or `on` something.
    pub fn add(&mut self, on: &str, action: impl Into<String>) {
        let action = action.into();
        match self.blocks.iter_mut().find(|block| block.on == on) {
            Some(block) => block.actions.push(action),
            None => self.blocks.push(Block {
                on: on.into(),
                actions: vec![action],
            }),
        }
    }

    /// Whether something is done anywhere.
    pub fn says(&self, action: &str) -> bool {
        let mut actions = self.blocks.iter().flat_map(|block| &block.actions);
        actions.any(|line| line == action)
    }

    /// Whether a line `on` something has a word in it.
    pub fn has(&self, on: &str, word: &str) -> bool {
        let block = self.blocks.iter().find(|block| block.on == on);
        block.is_some_and(|it| it.actions.iter().any(|line| line.contains(word)))
    }

    pub fn text(&self) -> String {
        let mut text = String::new();
        for line in &self.head {
            text += &format!("{line}\n");
        }
        for block in &self.blocks {
            text += &format!("\n{}\n", block.on);
            for action in &block.actions {
                text += &format!("  {action}\n");
            }
        }
        text
    }

    /// The scenario that it is, if it is one.
    pub fn scenario(&self) -> Result<Scenario, String> {
        Scenario::parse(Path::new("generated.scenario"), &self.text())
            .map_err(|fault| fault.to_string())
    }

    /// Every document with a bit less in it: the big pieces first.
    pub fn smaller(&self) -> Vec<Document> {
        let mut all = Vec::new();
        for block in (1..self.blocks.len()).rev() {
            let mut less = self.clone();
            less.blocks.remove(block);
            all.push(less);
        }
        for block in 0..self.blocks.len() {
            for action in (0..self.blocks[block].actions.len()).rev() {
                let mut less = self.clone();
                less.blocks[block].actions.remove(action);
                all.push(less);
            }
        }
        for block in 0..self.blocks.len() {
            for action in 0..self.blocks[block].actions.len() {
                let line = &self.blocks[block].actions[action];
                // The verb stays; each word behind it may go.
                let words: Vec<&str> = line.split(' ').collect();
                for word in (1..words.len()).rev() {
                    let mut words = words.clone();
                    words.remove(word);
                    let mut less = self.clone();
                    less.blocks[block].actions[action] = words.join(" ");
                    all.push(less);
                }
            }
        }
        for line in (0..self.head.len()).rev() {
            if !self.head[line].starts_with("title") && !self.head[line].starts_with("deadline") {
                let mut less = self.clone();
                less.head.remove(line);
                all.push(less);
            }
        }
        all
    }
}
