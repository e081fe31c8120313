//! One POST.
