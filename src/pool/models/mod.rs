//! Every interleaving of what threads may do to one key at once.

mod gate;
mod trial;
mod word;

fn model(check: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    // Three threads are too many for all of them; three forced switches find what there is to find.
    builder.preemption_bound = Some(3);
    builder.check(check);
}
