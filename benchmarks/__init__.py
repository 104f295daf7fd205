"""What the library costs, and how it does under faults, beside what else there is."""
