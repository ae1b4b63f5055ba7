"""First controllers for a system that nobody knows: hold the start, probe, feed back where that is needed, excite."""

from gps.first_controllers.holding import FirstControllers, Holding, make_holding_controllers

__all__ = ["FirstControllers", "Holding", "make_holding_controllers"]
