"""Floor 1: is it alive?"""
