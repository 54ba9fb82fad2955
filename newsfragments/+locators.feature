An element of ``locators`` can be what makes a locator for a link (a class, say): its responders then know which worker asks.
