"""What a run would take and what the machine allows, before anything is opened."""
