"""The policy's mathematics: robot state to observation, action to joint targets, limits.

Pure: no sockets, files, clocks or globals.
"""
