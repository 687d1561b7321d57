"""As many file descriptors as this user may have: every service asks for them when it starts."""

import resource
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DescriptorLimit:
    """The limit of this process: `allowed` from now on, `was` before. RLIM_INFINITY: none."""

    was: int
    allowed: int

    def allows(self, need: int) -> bool:
        """Return whether `need` files may be open at once."""
        return self.allowed == resource.RLIM_INFINITY or need <= self.allowed


def raise_descriptor_limit() -> DescriptorLimit:
    """Raise the soft limit to the hard one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return DescriptorLimit(was=soft, allowed=hard)
