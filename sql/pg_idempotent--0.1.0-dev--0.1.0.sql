-- 0.1.0-dev to 0.1.0. How a step is written, and tested, is in CONTRIBUTING.md.

-- The two make the same objects so far. The first change of what an installation makes stands here.
