"""The safety logic, searched in every state that it can reach."""
