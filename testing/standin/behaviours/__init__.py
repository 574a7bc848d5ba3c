"""How the resource types of public providers behave, as far as built-in pool types use them."""
