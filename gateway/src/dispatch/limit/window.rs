//! Window: how many attempts each link of a route has unanswered. Pure.

use crate::link::LinkIx;

/// The windows of a route's links.
#[derive(Clone, Debug, Default)]
pub struct Windows {
    links: Vec<Link>,
}

#[derive(Clone, Debug, Default)]
struct Link {
    window: usize,
    out: usize,
}

impl Windows {
    /// For so many links, all of them down.
    #[must_use]
    pub fn new(links: usize) -> Self {
        Self {
            links: vec![Link::default(); links],
        }
    }

    fn link(&mut self, link: LinkIx) -> Option<&mut Link> {
        self.links.get_mut(usize::from(link.0))
    }

    /// The link takes `window` unanswered attempts from now on; 0: it is down.
    pub fn set(&mut self, link: LinkIx, window: usize) {
        if let Some(link) = self.link(link) {
            link.window = window;
        }
    }

    /// Takes a slot on the link with the most free ones.
    pub fn take(&mut self) -> Option<LinkIx> {
        let free = |link: &Link| link.window.saturating_sub(link.out);
        let (index, link) = self
            .links
            .iter_mut()
            .enumerate()
            .max_by_key(|(_, link)| free(link))?;
        if free(link) == 0 {
            return None;
        }
        link.out += 1;
        u16::try_from(index).ok().map(LinkIx)
    }

    /// Frees a slot.
    pub fn free(&mut self, link: LinkIx) {
        if let Some(link) = self.link(link) {
            link.out = link.out.saturating_sub(1);
        }
    }

    /// Slots that could be taken now.
    #[must_use]
    pub fn free_slots(&self) -> usize {
        self.links
            .iter()
            .map(|link| link.window.saturating_sub(link.out))
            .sum()
    }

    /// Attempts out.
    #[must_use]
    pub fn out(&self) -> usize {
        self.links.iter().map(|link| link.out).sum()
    }

    /// Attempts out on one link.
    #[must_use]
    pub fn out_on(&self, link: LinkIx) -> usize {
        self.links
            .get(usize::from(link.0))
            .map_or(0, |link| link.out)
    }

    /// The windows of all links that are up, together.
    #[must_use]
    pub fn total(&self) -> usize {
        self.links.iter().map(|link| link.window).sum()
    }

    /// Whether any link is up.
    #[must_use]
    pub fn any_up(&self) -> bool {
        self.links.iter().any(|link| link.window > 0)
    }
}
