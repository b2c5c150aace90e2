"""Is the converted policy still the policy that was trained?"""
