"""The RoomDriver implementations that participants of the crowd use."""
