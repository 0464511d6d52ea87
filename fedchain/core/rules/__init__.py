"""Rules: policy, admission, plan, manifest, and the history that keeps them."""
