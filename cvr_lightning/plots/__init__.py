"""Pictures of clips, spikes and scores."""
