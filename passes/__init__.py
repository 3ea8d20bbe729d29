"""The compiler: passes from plan to plan, the pipeline that runs them, and recovery."""
